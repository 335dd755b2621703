export { afterTheCrash, richWorkload } from '@coppice/testing';
