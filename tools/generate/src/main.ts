/** `npx nx run generate:docs`: writes the documents that are made from code. */
import { writeFileSync } from 'node:fs';
import { APP_CONFIGS } from './app-configs';
import { CONFIG_DOC, configDoc } from './config-doc';

writeFileSync(CONFIG_DOC, configDoc(APP_CONFIGS));
