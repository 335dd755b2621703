import { type SchemaQuery, text } from '../schema-query';
import { notMember } from './catalog-sql';

/** What the SQL leaves out although it belongs to the database: secrets, labels of modules, privileges on what is not written. */
const NOTES = `
  select format('subscription %I is left out: its connection string may hold a password', s.subname) note
    from pg_subscription s join pg_database d on d.oid = s.subdbid where d.datname = current_database()
  union all
  select format('user mapping for %s on server %I is written without its options', coalesce(quote_ident(u.usename), 'PUBLIC'), u.srvname)
    from pg_user_mappings u where u.umoptions is not null
  union all
  select format('security label of %s on %s %s is left out', l.provider, l.objtype, l.objname) from pg_seclabels l
    where l.objtype not in ('database', 'role', 'tablespace')
  union all
  select format('privileges on column %I of %s, which is not written, are left out', a.attname, a.attrelid::regclass)
    from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    left join pg_init_privs i on i.classoid = c.tableoid and i.objoid = c.oid and i.objsubid = a.attnum
    where a.attacl is not null and a.attacl is distinct from i.initprivs
      and (n.nspname = 'pg_catalog' or not ${notMember('c')})
  order by 1`;

/** One line for each thing that the SQL does not say. */
export async function readNotes(query: SchemaQuery): Promise<string[]> {
  return (await query(NOTES)).map((row) => text(row, 'note'));
}
