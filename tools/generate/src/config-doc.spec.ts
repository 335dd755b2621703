import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { configTable } from '@coppice/service-kit';
import { APP_CONFIGS } from './app-configs';
import { CONFIG_DOC, configDoc } from './config-doc';

const ROOT = join(__dirname, '../../..');

describe('the document of all settings', () => {
  it('says what the tables say: if not, run `npx nx run generate:docs`', () => {
    expect(readFileSync(join(ROOT, CONFIG_DOC), 'utf8')).toBe(configDoc(APP_CONFIGS));
  });

  it('has every app that has settings', () => {
    const apps = readdirSync(join(ROOT, 'apps')).filter((app) =>
      existsSync(join(ROOT, 'apps', app, 'src/config.ts')),
    );
    expect(Object.keys(APP_CONFIGS).sort()).toEqual(apps.sort());
  });

  it('shows type, bounds and default of a setting, never a secret', () => {
    const table = configTable({
      port: { env: 'P', type: 'integer', min: 1, max: 9, default: 7, about: 'port to listen on' },
      key: { env: 'K', type: 'secret', default: 'hunter2', about: 'a | key.' },
      name: { env: 'N', type: 'string', about: 'Its name.' },
    });
    const doc = configDoc({ app: table });
    expect(doc).toContain('| `P` | integer 1–9 | `7` | Port to listen on. |');
    expect(doc).toContain('| `K` | secret | set | A \\| key. |');
    expect(doc).toContain('| `N` | string | required | Its name. |');
    expect(doc).not.toContain('hunter2');
  });
});
