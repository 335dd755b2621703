// Bundles one project's src/main.ts into dist/<project>/main.js. Our own libraries are inlined; npm packages stay
// external, so native addons and packages that read files beside themselves keep working.
import { build } from 'esbuild';
import { existsSync } from 'node:fs';

const [, , project, root] = process.argv;
const entry = `${root}/src/main.ts`;
if (!existsSync(entry)) {
  console.error(`${project}: no ${entry}`);
  process.exit(1);
}
await build({
  entryPoints: [entry],
  outfile: `dist/${project}/main.js`,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  packages: 'external',
  alias: {},
  tsconfig: 'tsconfig.base.json',
  sourcemap: true,
  // Each service reads its map as it starts; the sources are beside it.
  sourcesContent: false,
  logLevel: 'warning',
});
