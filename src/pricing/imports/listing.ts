import type { Instant } from '../../kernel/time.ts'
import { costTierOf } from '../cost-tier.ts'
import { POOLS, type Pool, type Rates } from '../pools.ts'
import type { Alias, ModelListing, PriceVariant } from '../prices.ts'
import { notThisList, Skip } from './source.ts'

export interface Listed {
  readonly listing: ModelListing
  /** Null for a price that holds from when it is applied. */
  readonly effectiveFrom: Instant | null
}

export interface Skipped {
  readonly model: string
  readonly reason: string
}

/** Something of a listed model that could not be taken over. */
export interface Note {
  readonly model: string
  readonly note: string
}

/** A price list as read. */
export interface PriceList {
  readonly listed: readonly Listed[]
  readonly skipped: readonly Skipped[]
  readonly notes: readonly Note[]
}

/** The words that `capabilities` is made of. */
export const CAPABILITIES = [
  ...['audio_input', 'audio_output', 'computer_use', 'embedding', 'image_output', 'json_schema', 'moderation', 'ocr', 'pdf_input'],
  ...['prompt_caching', 'reasoning', 'rerank', 'tools', 'transcription', 'video_input', 'video_output', 'vision', 'web_search'],
] as const

export type Capability = (typeof CAPABILITIES)[number]

/** What a reader found out about a model. */
export interface Facts {
  readonly model: string
  readonly provider: string
  readonly rates: Rates
  readonly variants?: readonly PriceVariant[]
  readonly aliases?: readonly Alias[]
  readonly contextWindow: number | null
  readonly maxOutputTokens: number | null
  readonly capabilities: Iterable<Capability>
}

/** @throws Skip when the model has no price at all: nothing is ever billed as zero because a list was silent */
export function listingOf(facts: Facts): ModelListing {
  if (Object.keys(facts.rates).length === 0) throw new Skip('it has no price')
  return {
    model: facts.model,
    provider: facts.provider,
    rates: orderedRates(facts.rates),
    variants: (facts.variants ?? []).map((variant) => ({ ...variant, rates: orderedRates(variant.rates) })),
    aliases: facts.aliases ?? [],
    contextWindow: facts.contextWindow,
    maxOutputTokens: facts.maxOutputTokens,
    capabilities: [...new Set(facts.capabilities)].sort(),
    costTier: costTierOf(facts.rates),
    enabled: true,
  }
}

function orderedRates(rates: Rates): Rates {
  const ordered: Partial<Record<Pool, string>> = {}
  for (const pool of POOLS) if (rates[pool] !== undefined) ordered[pool] = rates[pool]
  return ordered
}

/** Collects what a reader finds. The first of two models with one name stands. */
export class ListBuilder {
  readonly #listed: Listed[] = []
  readonly #skipped: Skipped[] = []
  readonly #notes: Note[] = []
  readonly #names = new Set<string>()

  /**
   * Lists what `read` returns, all of it of one model, or skips the model with the reason that `read` throws.
   * @param name the model's name in the list
   */
  add(name: string, read: (note: (text: string) => void) => readonly Listed[]): void {
    const notes: string[] = []
    try {
      const versions = read((text) => notes.push(text))
      const model = versions[0]?.listing.model
      if (model === undefined) return
      if (this.#names.has(model)) throw new Skip('another model of the list has the same name here')
      this.#names.add(model)
      this.#listed.push(...versions)
      this.#notes.push(...notes.map((note) => ({ model, note })))
    } catch (error) {
      if (!(error instanceof Skip)) throw error
      this.skip(name, error.message)
    }
  }

  skip(model: string, reason: string): void {
    this.#skipped.push({ model, reason })
  }

  /**
   * @param list the list's name, for the message
   * @throws FareboxError `price_list_invalid` when nothing could be listed: an empty list would look as if every model had vanished
   */
  done(list: string): PriceList {
    if (this.#listed.length === 0) {
      const [first] = this.#skipped
      throw notThisList(list, first ? `none of its models can be listed; of ${first.model}: ${first.reason}` : 'it has no models')
    }
    return { listed: this.#listed, skipped: this.#skipped, notes: this.#notes }
  }
}
