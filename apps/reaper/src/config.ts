import { CLIENT_SECURITY_CONFIG } from '@coppice/contracts';
import { configTable } from '@coppice/service-kit';

export const REAPER_CONFIG = configTable({
  controlPlane: {
    env: 'COPPICE_CONTROL_ADDRESS',
    type: 'string',
    about: 'gRPC address of the control-plane',
  },
  ...CLIENT_SECURITY_CONFIG,
  sweepEveryMs: {
    env: 'COPPICE_REAPER_SWEEP_EVERY_MS',
    type: 'integer',
    default: 1_000,
    min: 50,
    about: 'pause between sweeps for idle computes, milliseconds',
  },
  perSweep: {
    env: 'COPPICE_REAPER_PER_SWEEP',
    type: 'integer',
    default: 50,
    min: 1,
    max: 1000,
    about: 'computes that one sweep suspends at most',
  },
  perMinute: {
    env: 'COPPICE_REAPER_PER_MINUTE',
    type: 'integer',
    default: 1_200,
    min: 1,
    about: 'computes suspended per minute at most',
  },
  endEveryMs: {
    env: 'COPPICE_REAPER_END_EVERY_MS',
    type: 'integer',
    default: 2_000,
    min: 50,
    about: 'pause between sweeps for expired and deleted things, milliseconds',
  },
  endPerSweep: {
    env: 'COPPICE_REAPER_END_PER_SWEEP',
    type: 'integer',
    default: 500,
    min: 1,
    max: 1000,
    about: 'things of one kind that one sweep ends at most',
  },
  endPerMinute: {
    env: 'COPPICE_REAPER_END_PER_MINUTE',
    type: 'integer',
    default: 30_000,
    min: 1,
    about: 'things of one kind ended per minute at most',
  },
  orphansEveryMs: {
    env: 'COPPICE_REAPER_ORPHANS_EVERY_MS',
    type: 'integer',
    default: 600_000,
    min: 1_000,
    about: 'pause between sweeps for objects that nothing refers to, milliseconds',
  },
  brakePercent: {
    env: 'COPPICE_REAPER_BRAKE_PERCENT',
    type: 'integer',
    default: 80,
    min: 1,
    max: 100,
    about: 'share of all of a kind that may be due at once before the brake holds, percent',
  },
  brakeFloor: {
    env: 'COPPICE_REAPER_BRAKE_FLOOR',
    type: 'integer',
    default: 50,
    min: 1,
    about: 'things of a kind due at once up to which the brake never holds',
  },
  brakeHoldMs: {
    env: 'COPPICE_REAPER_BRAKE_HOLD_MS',
    type: 'integer',
    default: 60_000,
    about: 'how long so many must stay due until the sweep goes on at the rate limit, milliseconds',
  },
  dryRun: {
    env: 'COPPICE_REAPER_DRY_RUN',
    type: 'boolean',
    default: false,
    about: 'only log what would be ended',
  },
});
