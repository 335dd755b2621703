/** What Neon's shapes ask for and what is the same for everything here. */

/** The one region there is. */
export const REGION = 'coppice-local';
export const PLATFORM = 'coppice';
export const PROVISIONER = 'k8s-neonvm';
export const SOURCE = 'console';
/** The one organisation there is. */
export const ORGANIZATION = 'org-coppice';
export const PLAN = 'coppice';
