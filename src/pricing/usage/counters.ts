/**
 * What providers report, before it is split into pools. Unlike pools these counters contain each other: `input_tokens` is the whole
 * prompt, the cached and the audio tokens included, and so on. A provider that counts otherwise is mapped so that this holds.
 */
export const COUNTERS = [
  'input_tokens',
  'cache_read_tokens',
  'cache_write_tokens',
  'cache_write_5m_tokens',
  'cache_write_1h_tokens',
  'input_text_tokens',
  'cache_text_read_tokens',
  'input_audio_tokens',
  'cache_audio_read_tokens',
  'input_image_tokens',
  'cache_image_read_tokens',
  'input_video_tokens',
  'cache_video_read_tokens',
  'input_tool_tokens',
  'input_text_tool_tokens',
  'input_audio_tool_tokens',
  'input_image_tool_tokens',
  'input_video_tool_tokens',
  'output_tokens',
  'output_text_tokens',
  'output_reasoning_tokens',
  'output_citation_tokens',
  'output_audio_tokens',
  'output_image_tokens',
  'output_video_tokens',
  'requests',
  'web_searches',
  'rerank_searches',
  'input_audio_seconds',
  'input_characters',
  'input_document_pages',
] as const

export type Counter = (typeof COUNTERS)[number]

/** Counts of one model call, whole numbers of zero or more. Absent is what the provider did not report; that is not zero. */
export type Reported = Readonly<Partial<Record<Counter, number>>>
