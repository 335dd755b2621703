/**
 * Huge pages for the shared memory of servers, which the interposer asks for with MADV_HUGEPAGE. The kernel listens only where
 * it is told to (Documentation/admin-guide/mm/transhuge.rst, "shmem_enabled"); nobody who does not ask gets them for that.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Log } from '@coppice/service-kit';

const KERNEL_SETTING = '/sys/kernel/mm/transparent_hugepage/shmem_enabled';

/** Whether a setting such as `always within_size advise [never] deny force` gives none to who asks, and may be changed. */
export function givesNone(setting: string): boolean {
  return setting.includes('[never]');
}

/** A kernel that cannot be changed stays as it is. */
export function allowHugePages(log: Log): void {
  try {
    if (!givesNone(readFileSync(KERNEL_SETTING, 'latin1'))) return;
    writeFileSync(KERNEL_SETTING, 'advise');
    log.info({ setting: KERNEL_SETTING }, 'the kernel gives huge pages to shared memory that asks for them');
  } catch (error) {
    log.info({ err: error }, 'computes have small pages: this kernel cannot be told to give others');
  }
}
