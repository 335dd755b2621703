import nx from '@nx/eslint-plugin';
import tseslint from 'typescript-eslint';

const io = [
  'pg',
  'ioredis',
  '@aws-sdk/*',
  '@grpc/*',
  'node:fs',
  'node:fs/*',
  'node:net',
  'node:child_process',
  'fs',
  'net',
];
const ring = (n, allowed) => ({ sourceTag: `ring:${n}`, onlyDependOnLibsWithTags: allowed });

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
          depConstraints: [
            ring(0, ['ring:0']),
            ring(1, ['ring:0', 'ring:1']),
            ring(2, ['ring:0', 'ring:1', 'ring:2', 'side:testing']),
            ring(3, ['ring:0', 'ring:1', 'ring:2', 'side:testing']),
            { sourceTag: 'plane:data', notDependOnLibsWithTags: ['plane:control'] },
            { sourceTag: 'plane:control', notDependOnLibsWithTags: ['plane:data'] },
            {
              sourceTag: 'side:testing',
              onlyDependOnLibsWithTags: ['ring:0', 'ring:1', 'ring:2', 'side:testing'],
            },
            {
              sourceTag: 'side:tools',
              onlyDependOnLibsWithTags: ['ring:0', 'ring:1', 'ring:2', 'side:testing'],
            },
            docsConstraint,
          ],
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
      ],
    },
  },
  {
    files: ['libs/{vocabulary,bytes,postgres,layers,consensus}/src/**/*.ts'],
    ignores: ['**/*.spec.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        { patterns: io.map((group) => ({ group: [group], message: 'rings 0 and 1 are pure' })) },
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
