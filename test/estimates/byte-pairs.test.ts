import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { countTokens as countByCl100k } from 'gpt-tokenizer/encoding/cl100k_base'
import { countTokens as countByO200k } from 'gpt-tokenizer/encoding/o200k_base'
import t from 'tap'
import { countBytePairs, type Vocabulary } from '../../src/estimates/byte-pairs.ts'
import type { Encoding } from '../../src/estimates/encoding.ts'
import { loadVocabulary } from '../../src/estimates/vocabulary.ts'

/** The package's own encoder, told that special tokens are text. */
const PACKAGE: Record<Encoding, (text: string) => number> = {
  o200k_base: (text) => countByO200k(text, { disallowedSpecial: new Set() }),
  cl100k_base: (text) => countByCl100k(text, { disallowedSpecial: new Set() }),
}

const ENCODINGS = ['o200k_base', 'cl100k_base'] as const

const vocabularies: Record<Encoding, Vocabulary> = {
  o200k_base: await loadVocabulary('o200k_base'),
  cl100k_base: await loadVocabulary('cl100k_base'),
}

/** The examples that the package publishes for an encoding: a sample, which may have several lines, and its tokens. */
function publishedExamples(encoding: Encoding): { sample: string; tokens: number }[] {
  const file = readFileSync(fileURLToPath(import.meta.resolve('gpt-tokenizer/data/TestPlans.txt')), 'utf8')
  const pattern = /^EncodingName: (\w+)\nSample: ([\s\S]*?)\nEncoded: (\[.*\])$/gm
  return [...file.replaceAll('\r\n', '\n').matchAll(pattern)]
    .filter(([, name]) => name === encoding)
    .map(([, , sample = '', encoded = '']) => ({ sample, tokens: (JSON.parse(encoded) as number[]).length }))
}

/** Texts where encoders go wrong. U+FEFF has a test of its own. */
const ODD = [
  ...["it's", "WE'LL", ' ', '  ', '\t', '\n', '\r\n', ' \n ', '\0', 'ABC', 'camelCase', '12345', '…', '//', 'é', 'e\u0301', 'ﷺ'],
  ...['人工智能', 'สวัสดี', '안녕', '😀', '👩‍👩‍👧', '\ud800', '\udc00', '<|endoftext|>', '<|im_start|>', '<|endofprompt|>', '\u{10ffff}'],
]

for (const encoding of ENCODINGS) {
  const vocabulary = vocabularies[encoding]
  const count = (text: string) => countBytePairs(text, vocabulary)

  t.test(`${encoding}: counts the published examples`, async (t) => {
    const examples = publishedExamples(encoding)
    t.ok(examples.length > 50, `${examples.length} examples`)
    for (const { sample, tokens } of examples) t.equal(count(sample), tokens, JSON.stringify(sample.slice(0, 60)))
  })

  t.test(`${encoding}: counts what the package counts, whatever the text`, async (t) => {
    const piece = fc.oneof(fc.constantFrom(...ODD), fc.string({ unit: 'binary', maxLength: 20 }), fc.string({ maxLength: 20 }))
    const text = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join('').replaceAll('\ufeff', ''))
    fc.assert(
      fc.property(text, (one) => count(one) === PACKAGE[encoding](one)),
      { numRuns: 500, seed: 1 },
    )
    for (const one of ODD) t.equal(count(one.repeat(300)), PACKAGE[encoding](one.repeat(300)), `${JSON.stringify(one)} 300 times`)
  })

  t.test(`${encoding}: special tokens are text`, async (t) => {
    for (const special of ['<|endoftext|>', '<|im_start|>', '<|fim_prefix|>', '<|endofprompt|>', '<|start|>', '<|reserved_200000|>']) {
      t.ok(count(special) > 3, special)
      t.equal(count(`${special} and ${special}`), PACKAGE[encoding](`${special} and ${special}`))
    }
  })

  t.test(`${encoding}: a byte order mark is in the vocabulary, though the package's encoder does not find it there`, async (t) => {
    t.equal(count('\ufeff'), 1)
    t.equal(count('\ufeffusing'), 1)
    t.equal(PACKAGE[encoding]('\ufeff'), 2, 'it drops marks in front when it decodes bytes: a fixed package may join the texts above')
  })

  t.test(`${encoding}: no text at all is no token`, async (t) => {
    t.equal(count(''), 0)
  })
}

t.test('the vocabularies are whole', async (t) => {
  t.equal(vocabularies.o200k_base.ranks.size, 199_998)
  t.equal(vocabularies.cl100k_base.ranks.size, 100_256)
  for (const { ranks } of Object.values(vocabularies)) {
    t.ok(
      Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte)).every((byte) => ranks.has(byte)),
      'whatever the bytes, there are tokens for them',
    )
    t.ok(
      [...ranks.values()].every((rank) => Number.isInteger(rank) && rank >= 0 && rank < 2 ** 21),
      'every rank fits beside a start in one exact number',
    )
  }
})

/** The same text at each run, and one that has nothing in common with itself. */
function randomBase64(length: number): string {
  let text = ''
  for (let index = 0; text.length < length; index++) text += createHash('sha512').update(`${index}`).digest('base64')
  return text.slice(0, length)
}

/**
 * Texts that are one piece from end to end, or as good as, are what makes byte-pair encoding quadratic. Their time is not asserted but the
 * number of look-ups that it consists of: one for each byte, two for each merge. A mebibyte takes 0.3 to 1.9 s on one shared core, in
 * the counters' thread; the one that serves requests was then held up by 2.6 ms at most, 4.3 ms when it started the thread.
 */
const PATHOLOGICAL: { name: string; text: string; o200k_base?: number; cl100k_base?: number }[] = [
  { name: 'one letter', text: 'a'.repeat(2 ** 20), o200k_base: 2 ** 17, cl100k_base: 2 ** 17 },
  { name: 'spaces', text: ' '.repeat(2 ** 17), o200k_base: 2 ** 10, cl100k_base: 2 ** 10 },
  { name: 'line ends', text: '\r\n'.repeat(2 ** 15) },
  { name: 'emoji', text: '😀'.repeat(2 ** 15), o200k_base: 2 ** 15, cl100k_base: 2 ** 16 },
  { name: 'Chinese without a full stop', text: '计费服务'.repeat(2 ** 13) },
  { name: 'lone surrogates', text: '\ud83d'.repeat(2 ** 15) },
  { name: 'base64', text: randomBase64(2 ** 16) },
]

for (const { name, text, ...known } of PATHOLOGICAL) {
  t.test(`${name}, ${text.length} units of it: looks no rank up more often than a merge asks for`, async (t) => {
    for (const encoding of ENCODINGS) {
      const { split, ranks } = vocabularies[encoding]
      let lookups = 0
      const counted: Pick<ReadonlyMap<string, number>, 'get' | 'has'> = {
        get(key) {
          lookups++
          return ranks.get(key)
        },
        has: (key) => ranks.has(key),
      }
      const tokens = countBytePairs(text, { split, ranks: counted as ReadonlyMap<string, number> })
      const bytes = Buffer.byteLength(text)
      t.ok(lookups <= 3 * bytes, `${encoding}: ${lookups} look-ups of ${bytes} bytes`)
      if (known[encoding] === undefined) t.ok(tokens > 0 && tokens <= bytes, `${tokens} tokens`)
      else t.equal(tokens, known[encoding])
    }
  })
}
