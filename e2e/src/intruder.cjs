/**
 * What somebody sees who runs code as a compute's user: run by that compute's Postgres, in an empty environment. Reads what to
 * try from the file named, prints what worked as one line of JSON.
 */
const fs = require('node:fs');
const net = require('node:net');

const { paths, pids, ports } = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const works = (attempt) => {
  try {
    attempt();
    return true;
  } catch {
    return false;
  }
};
const codeOf = (attempt) => {
  try {
    attempt();
    return 'works';
  } catch (error) {
    return error.code;
  }
};
const connects = (where) =>
  new Promise((resolve) => {
    const socket = net.connect(where);
    const end = (result) => {
      socket.destroy();
      resolve(result);
    };
    socket.once('connect', () => end('works'));
    socket.once('error', (error) => end(error.code));
    socket.setTimeout(5000, () => end('late'));
  });

async function main() {
  const readable = paths.files.filter((path) => works(() => fs.closeSync(fs.openSync(path, 'r'))));
  const writable = [...paths.files, ...paths.directories, ...paths.sockets].filter((path) =>
    works(() => fs.accessSync(path, fs.constants.W_OK)),
  );
  const listable = paths.directories.filter((path) => works(() => fs.readdirSync(path)));
  const sockets = {};
  for (const path of paths.sockets) sockets[path] = await connects({ path });
  const processes = pids.map((pid) => ({
    environ: codeOf(() => fs.readFileSync(`/proc/${pid}/environ`)),
    memory: codeOf(() => fs.closeSync(fs.openSync(`/proc/${pid}/mem`, 'r'))),
    files: codeOf(() => fs.readdirSync(`/proc/${pid}/fd`)),
    signal: codeOf(() => process.kill(pid, 0)),
  }));
  const commandLines = fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        return '';
      }
    });
  const inherited = fs
    .readFileSync(`/proc/${process.ppid}/environ`, 'utf8')
    .split('\0')
    .filter((setting) => setting !== '');
  const tcp = {};
  for (const port of ports) tcp[port] = await connects({ host: '127.0.0.1', port });
  const uid = process.getuid();
  console.log(
    JSON.stringify({ uid, readable, writable, listable, sockets, processes, commandLines, inherited, tcp }),
  );
}

void main();
