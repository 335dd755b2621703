import nx from '@nx/eslint-plugin';
import tseslint from 'typescript-eslint';

const io = [
  ...['pg', 'ioredis', '@aws-sdk/*', '@grpc/*'],
  ...[
    'fs',
    'fs/*',
    'net',
    'tls',
    'dgram',
    'dns',
    'http',
    'https',
    'http2',
    'child_process',
    'worker_threads',
  ].flatMap((name) => [name, `node:${name}`]),
  ...['timers', 'timers/*', 'node:timers', 'node:timers/*'],
];
const ring = (n, allowed) => ({ sourceTag: `ring:${n}`, onlyDependOnLibsWithTags: allowed });
const upTo = (n) => ['ring:0', 'ring:1', 'ring:2'].slice(0, n + 1);
const sideConstraints = [
  { sourceTag: 'side:testing', onlyDependOnLibsWithTags: [...upTo(2), 'side:testing'] },
  { sourceTag: 'side:tools', onlyDependOnLibsWithTags: [...upTo(2), 'side:testing'] },
];
const rings = [ring(0, upTo(0)), ring(1, upTo(1)), ring(2, upTo(2)), ring(3, upTo(2))];
const planes = [
  { sourceTag: 'plane:data', notDependOnLibsWithTags: ['plane:control'] },
  { sourceTag: 'plane:control', notDependOnLibsWithTags: ['plane:data'] },
];
// Only tests use what is made for tests; its servers and stacks know both planes.
const testRings = [
  ring(0, upTo(0)),
  ring(1, upTo(1)),
  ...[2, 3].map((n) => ring(n, [...upTo(2), 'side:testing'])),
];
const TESTS = ['**/*.spec.ts', '**/*.fixture.ts', '**/testing/**/*.ts', '**/test-*.ts'];

// What generates documents reads the tables that apps state, and nothing else of them.
const docsConstraint = {
  sourceTag: 'side:docs',
  onlyDependOnLibsWithTags: ['ring:0', 'ring:1', 'ring:2', 'ring:3'],
};

export default tseslint.config(
  { ignores: ['**/dist/**', '**/node_modules/**', '.nx/**', '.cache/**', '.coppice/**'] },
  ...tseslint.configs.recommended.map((c) => ({ ...c, files: ['**/*.ts'] })),
  {
    files: ['**/*.ts'],
    plugins: { '@nx': nx },
    rules: {
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@nx/enforce-module-boundaries': [
        'error',
        {
          allow: [],
          depConstraints: [...rings, ...planes, ...sideConstraints, docsConstraint],
        },
      ],
      'no-restricted-syntax': [
        'error',
        {
          selector: "MemberExpression[object.name='Date'][property.name='now']",
          message: 'time comes through the Clock port (service-kit)',
        },
        {
          selector: "MemberExpression[object.name='Math'][property.name='random']",
          message: 'randomness comes through a port',
        },
        {
          selector: "CallExpression[callee.name='setTimeout']",
          message: 'waits come through the Clock port (service-kit)',
        },
        {
          selector: "MemberExpression[object.name='AbortSignal'][property.name='any']",
          message: 'signals are joined by anySignal (service-kit), which keeps their deadlines',
        },
      ],
    },
  },
  {
    files: TESTS,
    ignores: ['libs/testing/**'],
    rules: {
      '@nx/enforce-module-boundaries': [
        'error',
        { allow: [], depConstraints: [...testRings, ...sideConstraints, docsConstraint] },
      ],
    },
  },
  {
    files: ['libs/{vocabulary,bytes,postgres,layers,consensus,quotas,scaling}/src/**/*.ts'],
    ignores: ['**/*.spec.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        { patterns: io.map((group) => ({ group: [group], message: 'rings 0 and 1 are pure' })) },
      ],
    },
  },
  {
    // Contracts carry messages of both planes, so tags, which look through what a library imports, cannot say this.
    files: ['apps/{control-plane,gateway,reaper}/src/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              group: ['@coppice/postgres', '@coppice/layers', '@coppice/consensus'],
              message: 'the control plane does not import the data plane',
            },
          ],
        },
      ],
    },
  },
  {
    files: ['tools/generate/**/*.ts'],
    rules: {
      '@nx/enforce-module-boundaries': [
        'error',
        { allow: ['../../../apps/**/src/config'], depConstraints: [docsConstraint] },
      ],
    },
  },
  {
    files: ['libs/{service-kit,testing}/**/*.ts', 'tools/**/*.ts', 'e2e/**/*.ts', '**/*.spec.ts'],
    rules: { 'no-restricted-syntax': 'off' },
  },
);
