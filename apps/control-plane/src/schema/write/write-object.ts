import type { DefaultPrivilegesObject, PlainObject, SchemaObject } from '../model';
import type { Node } from '../order/node';
import { columnComments, objectComment } from './comments';
import type { Entry, Names } from './entry';
import { grantStatements } from './grants';
import {
  writeAttach,
  writeCheck,
  writeDefault,
  writeDomain,
  writeIndex,
  writeIndexAttach,
  writeKey,
  writeRowSecurity,
  writeRule,
} from './write-parts';
import { writeSequence } from './write-sequence';
import { writeTable } from './write-table';

type Writers = {
  readonly [Form in SchemaObject['form']]: (
    object: Extract<SchemaObject, { form: Form }>,
    node: Node,
    names: Names,
  ) => Entry[];
};

const WRITERS: Writers = {
  plain: (object, _node, names) => writePlain(object, names),
  silent: () => [],
  shell: (object, { shown }) =>
    shown
      ? [
          {
            type: 'SHELL TYPE',
            tag: object.name,
            schema: object.schema,
            owner: object.owner,
            sql: object.sql,
          },
        ]
      : [],
  table: (object, node, names) => writeTable(node, object, names),
  sequence: (object, _node, names) => writeSequence(object, names),
  default: (object, node, names) => writeDefault(node, object, names),
  check: (object, node, names) => writeCheck(node, object, names),
  domain: (object, _node, names) => writeDomain(object, names),
  rule: (object, node, names) => writeRule(node, object, names),
  attach: (object, _node, names) => writeAttach(object, names),
  index: (object, _node, names) => writeIndex(object, names),
  'index-attach': (object, _node, names) => writeIndexAttach(object, names),
  key: (object, _node, names) => writeKey(object, names),
  'row-security': (object, _node, names) => writeRowSecurity(object, names),
  'default-privileges': (object, _node, names) => writeDefaultPrivileges(object, names),
};

/** The entries of an object in its place: what makes it, then its comments and privileges. */
export function writeObject(node: Node, names: Names): Entry[] {
  // Each writer takes the form that it is filed under.
  const write = WRITERS[node.object.form] as (object: SchemaObject, node: Node, names: Names) => Entry[];
  return write(node.object, node, names);
}

function writePlain(object: PlainObject, names: Names): Entry[] {
  const { type, tag, schema, owner, sql, ownerOf, comment, grants } = object;
  const statements = grants ? grantStatements(grants, { schema, owner }, names.keywords) : '';
  const pass = type === 'EVENT TRIGGER' ? { pass: 'events' as const } : {};
  return [
    ...(sql ? [{ type, tag, schema, owner, sql, ownerOf, ...pass }] : []),
    ...(comment ? objectComment(names, { ...object, ...comment }) : []),
    ...(statements
      ? [
          {
            type: 'ACL',
            tag: `${grants!.on} ${grants!.name}`,
            schema,
            owner,
            sql: statements,
            pass: 'privileges' as const,
          },
        ]
      : []),
    ...(object.columns ? columnComments(names, object, object.columns, object.columnsOf) : []),
  ];
}

function writeDefaultPrivileges({ schema, owner, grants }: DefaultPrivilegesObject, names: Names): Entry[] {
  const inSchema = schema === null ? '' : `IN SCHEMA ${names.quote(schema)} `;
  const prefix = `ALTER DEFAULT PRIVILEGES FOR ROLE ${names.quote(owner)} ${inSchema}`;
  const sql = grantStatements(grants, { schema: null, owner, prefix }, names.keywords);
  const tag = `DEFAULT PRIVILEGES FOR ${grants.on}`;
  return [{ type: 'DEFAULT ACL', tag, schema, owner, sql, pass: 'privileges' }];
}
