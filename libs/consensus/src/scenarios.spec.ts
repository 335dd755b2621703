/**
 * Runs testdata/*.txt: commands, `----`, what must happen. `COPPICE_UPDATE_SCENARIOS=1` writes what does happen instead;
 * read the difference before you keep it.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ScenarioCluster } from './scenario.fixture';

const DIRECTORY = join(__dirname, '../testdata');

/** The file as it should be: each block of commands followed by what it led to. */
function play(text: string): string {
  const cluster = new ScenarioCluster();
  const blocks = text.trimEnd().split(/\n\n+/);
  return `${blocks
    .map((block) => {
      const lines = block.split('\n');
      const cut = lines.indexOf('----');
      const commands = cut < 0 ? lines : lines.slice(0, cut);
      if (commands.every((line) => line.startsWith('#'))) return block;
      const output = commands.filter((line) => !line.startsWith('#')).flatMap((line) => cluster.run(line));
      return [...commands, '----', ...(output.length > 0 ? output : ['ok'])].join('\n');
    })
    .join('\n\n')}\n`;
}

describe('scenarios', () => {
  it.each(readdirSync(DIRECTORY).filter((name) => name.endsWith('.txt')))('%s', (name) => {
    const path = join(DIRECTORY, name);
    const text = readFileSync(path, 'utf8');
    const played = play(text);
    if (process.env['COPPICE_UPDATE_SCENARIOS']) writeFileSync(path, played);
    else expect(played).toBe(text);
  });
});
