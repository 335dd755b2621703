/**
 * Which endpoint a connection is for: the first label of the TLS server name, else `endpoint=<id>` in the startup
 * `options`, else the password form `endpoint=<id>;<password>`. Neon's order and forms, so its drivers and habits work.
 * In all of them `<id>-pooler` means the same endpoint, by pooled connections.
 */
import { CoppiceError } from '@coppice/service-kit';
import { type Opening, openingOf, saysWhen } from './when';

export interface Route extends Opening {
  /** `undefined`: it must come with the password. */
  readonly endpoint: string | undefined;
  readonly pooled: boolean;
  /** The startup `options` without what was meant for the proxy. */
  readonly options: string | undefined;
}

/** Blanks within a word are escaped. */
const WORD = /(?:\\.|[^\s\\])+|\\$/gs;
const ENDPOINT = /^[a-z0-9-]{1,60}$/;
const FORMS =
  'Name it in the host (ep-….<domain>, needs SNI), in options=endpoint=<id>, or as the password endpoint=<id>;<password>.';

const POOLER = '-pooler';

export interface NamedEndpoint {
  readonly endpoint: string;
  readonly pooled: boolean;
}

function named(name: string): NamedEndpoint {
  const pooled = name.endsWith(POOLER);
  const endpoint = pooled ? name.slice(0, -POOLER.length) : name;
  if (ENDPOINT.test(endpoint)) return { endpoint, pooled };
  const shown = name.length > 60 ? `${name.slice(0, 60)}… (${name.length} characters)` : name;
  throw new CoppiceError(
    'Malformed',
    'bad-endpoint-name',
    `endpoint name "${shown}" is not 1 to 60 letters, digits and dashes`,
    { remedy: FORMS },
  );
}

export function routeOf(serverName: string | undefined, options: string | undefined): Route {
  const words = options === undefined ? [] : (options.match(WORD) ?? []);
  const isOurs = (word: string): boolean => /^(endpoint|project)=/.test(word);
  const word = words.find(isOurs);
  const rest = words.filter((w) => !isOurs(w) && !saysWhen(w)).join(' ');
  const fromOptions = word === undefined ? undefined : named(word.slice(word.indexOf('=') + 1));
  const label = serverName?.includes('.') ? serverName.slice(0, serverName.indexOf('.')) : undefined;
  const fromName = label !== undefined && label.startsWith('ep-') ? named(label) : undefined;
  if (fromName && fromOptions && fromName.endpoint !== fromOptions.endpoint) {
    throw new CoppiceError(
      'Malformed',
      'inconsistent-endpoint',
      `Inconsistent project name inferred from SNI ('${fromName.endpoint}') and project option ('${fromOptions.endpoint}').`,
      {
        remedy: 'Name one endpoint only.',
      },
    );
  }
  return {
    endpoint: (fromName ?? fromOptions)?.endpoint,
    pooled: (fromName?.pooled ?? false) || (fromOptions?.pooled ?? false),
    options: rest === '' ? undefined : rest,
    ...openingOf(words),
  };
}

/** Takes `endpoint=<id>;<password>` (or `$` for `;`) apart. */
export function splitPassword(password: string): NamedEndpoint & { readonly password: string } {
  const match = /^(?:endpoint|project)=([^;$]*)[;$](.*)$/s.exec(password);
  if (!match)
    throw new CoppiceError('Malformed', 'endpoint-not-named', 'the connection does not name an endpoint', {
      remedy: FORMS,
    });
  return { ...named(match[1]!), password: match[2]! };
}
