/** The OpenAPI document, generated from the schemas that requests are validated with. */
import { z } from 'zod';
import type { Route } from './rest/route';
import { errorResponse } from './rest/schemas/primitives';

type Json = Record<string, unknown>;

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Json;
  return rest;
}

/** One parameter per property of an object schema. */
function parameters(schema: z.ZodType | undefined, place: 'path' | 'query'): Json[] {
  if (!schema) return [];
  const { properties = {}, required = [] } = schemaOf(schema, 'input') as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, type]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    schema: type,
  }));
}

const json = (schema: z.ZodType, io: 'input' | 'output'): Json => ({
  'application/json': { schema: schemaOf(schema, io) },
});

export function openApiDocument(routes: readonly Route[]): Json {
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    paths[route.path] = {
      ...paths[route.path],
      [route.method.toLowerCase()]: {
        operationId: route.operationId,
        summary: route.summary,
        parameters: [...parameters(route.params, 'path'), ...parameters(route.query, 'query')],
        ...(route.body
          ? { requestBody: { required: route.body.required, content: json(route.body.schema, 'input') } }
          : {}),
        responses: {
          [route.status]: { description: 'Done', content: json(route.response, 'output') },
          ...(route.gone === undefined ? {} : { 204: { description: 'There was nothing to delete' } }),
          default: {
            description: 'Refused: `code` is stable, the message says what to do next',
            content: json(errorResponse, 'output'),
          },
        },
      },
    };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Coppice API',
      version: '2.0.0',
      description:
        'Postgres for agents: projects, branches, endpoints. Paths and shapes are those of the Neon API v2.',
    },
    servers: [{ url: '/api/v2' }],
    security: [{ BearerAuth: [] }],
    components: { securitySchemes: { BearerAuth: { type: 'http', scheme: 'bearer' } } },
    paths,
  };
}
