/** The documentation page: Swagger UI over our document, with all its files from the package, so that it works offline. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { FastifyInstance } from 'fastify';

/** The package's files that the page loads, with their types. */
const FILES: Readonly<Record<string, string>> = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
  'favicon-32x32.png': 'image/png',
};

const page = (prefix: string): string => `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Coppice API</title>
    <link rel="stylesheet" href="${prefix}/swagger-ui.css">
    <link rel="icon" href="${prefix}/favicon-32x32.png">
  </head>
  <body>
    <div id="ui"></div>
    <script src="${prefix}/swagger-ui-bundle.js"></script>
    <script src="${prefix}/start.js"></script>
  </body>
</html>
`;

const start = (document: string): string => `SwaggerUIBundle({
  url: ${JSON.stringify(document)},
  dom_id: '#ui',
  deepLinking: true,
  docExpansion: 'none',
  filter: true,
  validatorUrl: null,
});
`;

/** Nothing from elsewhere; the page's styles are set by its script. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'";

/** Serves the page at `prefix`; it shows the document that is at `document`. */
export function serveDocs(app: FastifyInstance, prefix: string, document: string): void {
  const files = join(
    dirname(createRequire(__filename).resolve('@fastify/swagger-ui/package.json')),
    'static',
  );
  app.get(prefix, (_, reply) =>
    reply.type('text/html; charset=utf-8').header('content-security-policy', POLICY).send(page(prefix)),
  );
  app.get(`${prefix}/start.js`, (_, reply) =>
    reply.type('text/javascript; charset=utf-8').send(start(document)),
  );
  for (const [name, type] of Object.entries(FILES))
    app.get(`${prefix}/${name}`, async (_, reply) =>
      reply
        .type(type)
        .header('cache-control', 'max-age=3600')
        .send(await readFile(join(files, name))),
    );
}
