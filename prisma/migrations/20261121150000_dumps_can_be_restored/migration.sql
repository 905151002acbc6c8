-- pg_restore fills the tables with an empty search_path, where a check can only call what it names in full.
create or replace function variants_valid(variants jsonb) returns boolean language sql immutable as $$
  select jsonb_typeof(variants) = 'array' and not exists (
    select from jsonb_array_elements(case when jsonb_typeof(variants) = 'array' then variants else '[]' end) as variant
    where jsonb_typeof(variant) <> 'object' or not coalesce(public.rates_valid(variant -> 'rates'), false)
      or not (variant ?| array['serviceTier', 'abovePromptTokens', 'hours'])
  )
$$;
