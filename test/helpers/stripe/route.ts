import { z } from 'zod'
import type { World } from './world.ts'

export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** `:id` stands for one part. */
  readonly path: string
  readonly params: z.ZodType
  /** `id` is what `:id` was, `url` the path as it was asked for, for lists to repeat. */
  run(world: World, params: never, at: { id: string; url: string }): object
}

/** Every route takes `expand`. */
export function route<Shape extends z.ZodRawShape>(
  method: Route['method'],
  path: string,
  shape: Shape,
  run: (world: World, params: z.output<z.ZodObject<Shape>>, at: { id: string; url: string }) => object,
): Route {
  const params = z.strictObject({ ...shape, expand: z.array(z.string()).optional() })
  return { method, path, params, run: run as Route['run'] }
}
