/**
 * Writes asyncapi.yaml from the schemas of the socket's frames and the text of docs/realtime.md; with `--check` compares instead and
 * exits 1 on any difference. Needs no database: nothing here is ever called, only described.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { describedCalls, describedNotifications, describedParts, FAILED, type Message } from './asyncapi-messages.ts'

export const ASYNCAPI_FILE = fileURLToPath(new URL('../asyncapi.yaml', import.meta.url))
const TEXT_FILE = fileURLToPath(new URL('../docs/realtime.md', import.meta.url))

interface Reference {
  readonly $ref: string
}

interface Operation {
  readonly action: 'receive' | 'send'
  readonly channel: Reference
  readonly summary: string
  readonly messages: readonly Reference[]
  readonly reply?: { readonly channel: Reference; readonly messages: readonly Reference[] }
}

/** The AsyncAPI document as YAML. */
export function describeSocket(): string {
  return stringify(socketDocument(readFileSync(TEXT_FILE, 'utf8')), { lineWidth: 0, aliasDuplicateObjects: false })
}

/** @param markdown docs/realtime.md, whose sections are the long texts of the document */
export function socketDocument(markdown: string) {
  const calls = describedCalls()
  const notifications = describedNotifications()
  const messages = [...calls.flatMap((call) => [call, call.answer]), FAILED, ...notifications]
  const onChannel = ({ name }: Message) => ({ $ref: `#/channels/realtime/messages/${name}` })
  const channel = { $ref: '#/channels/realtime' }

  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Farebox realtime',
      version: '1',
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
      description: introductionOf(markdown),
    },
    defaultContentType: 'application/json',
    servers: {
      farebox: {
        host: '{host}',
        protocol: 'ws',
        description: 'Where the API is. Behind TLS the protocol is wss.',
        variables: { host: { default: '127.0.0.1:8080', description: 'Host and port of the API' } },
        security: ['ticket', 'bearerSubprotocol', 'bearer'].map((name) => ({ $ref: `#/components/securitySchemes/${name}` })),
      },
    },
    channels: {
      realtime: {
        address: '/v1/realtime',
        title: 'The socket',
        description: [
          sectionOf(markdown, 'Connect'),
          sectionOf(markdown, 'Frames'),
          `## Close codes\n\n${sectionOf(markdown, 'Close codes')}`,
        ].join('\n\n'),
        messages: Object.fromEntries(messages.map(({ name }) => [name, { $ref: `#/components/messages/${name}` }])),
        bindings: { ws: { method: 'GET', headers: HANDSHAKE, bindingVersion: '0.1.0' } },
      },
    },
    // From where the service stands: it receives calls and sends notifications.
    operations: Object.fromEntries([
      ...calls.map((call): [string, Operation] => [
        call.operation,
        {
          action: 'receive',
          channel,
          summary: call.summary,
          messages: [onChannel(call)],
          reply: { channel, messages: [call.answer, FAILED].map(onChannel) },
        },
      ]),
      ...notifications.map((one): [string, Operation] => [
        `send${one.name}`,
        { action: 'send', channel, summary: one.summary, messages: [onChannel(one)] },
      ]),
    ]),
    components: {
      securitySchemes: SECURITY_SCHEMES,
      messages: Object.fromEntries(
        messages.map(({ name, summary }) => [name, { name, summary, payload: { $ref: `#/components/schemas/${name}` } }]),
      ),
      schemas: {
        ...Object.fromEntries(messages.map(({ name, payload }) => [name, payload])),
        ...describedParts(),
      },
    },
  }
}

const SECURITY_SCHEMES = {
  ticket: {
    type: 'httpApiKey',
    name: 'Sec-WebSocket-Protocol',
    in: 'header',
    description: 'A ticket of `POST /v1/realtime/tickets`, good once, for 30 seconds: the subprotocols `farebox.v1` and `ticket.tkt_…`',
  },
  bearerSubprotocol: {
    type: 'httpApiKey',
    name: 'Sec-WebSocket-Protocol',
    in: 'header',
    description: 'The token of a person: the subprotocols `farebox.v1` and `bearer.<jwt>`',
  },
  bearer: { type: 'http', scheme: 'bearer', description: 'For programs that can send headers: an API key (`fbx_…`) or a token' },
}

/** The headers of the upgrade. */
const HANDSHAKE = {
  type: 'object',
  properties: {
    'Sec-WebSocket-Protocol': {
      type: 'string',
      description: '`farebox.v1`, which is selected, and perhaps a credential, which is never echoed',
      examples: ['farebox.v1, ticket.tkt_…'],
    },
    Authorization: { type: 'string', description: 'Instead of a credential among the subprotocols' },
    Origin: { type: 'string', description: 'Where browsers send one it must be one of ALLOWED_ORIGINS, or the service’s own' },
  },
}

/** What stands before the first section. */
function introductionOf(markdown: string): string {
  const match = /^# .+\n+([\s\S]*?)(?=^## )/m.exec(markdown)
  if (!match?.[1]?.trim()) throw new Error('docs/realtime.md has no introduction')
  return match[1].trim()
}

function sectionOf(markdown: string, heading: string): string {
  const after = markdown.split(`\n## ${heading}\n`)[1]
  if (after === undefined) throw new Error(`docs/realtime.md has no section "${heading}"`)
  return (after.split(/^## /m)[0] as string).trim()
}

if (import.meta.main) {
  const yaml = describeSocket()
  if (!process.argv.includes('--check')) {
    writeFileSync(ASYNCAPI_FILE, yaml)
    console.log(`wrote ${ASYNCAPI_FILE}`)
  } else if (readFileSync(ASYNCAPI_FILE, 'utf8') === yaml) {
    console.log('asyncapi.yaml is up to date')
  } else {
    console.error('asyncapi.yaml differs from the frames: run "npm run asyncapi" and commit it')
    process.exitCode = 1
  }
}
