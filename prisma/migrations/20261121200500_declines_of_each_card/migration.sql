-- Breaking for processes of an older version: `failures` is gone, in favour of what stands against each card.

-- Of the cards that a top-up had, newest last: {"fingerprint", "failures", "at"}, the time in milliseconds since 1970.
alter table top_ups add column declines json not null default '[]'
  constraint top_ups_declines_check check (case json_typeof(declines) when 'array' then json_array_length(declines) <= 10 else false end);
update top_ups
set declines = json_build_array(json_build_object(
  'fingerprint', fingerprint, 'failures', failures, 'at', (extract(epoch from updated_at) * 1000)::bigint))
where failures > 0;
alter table top_ups drop column failures;

-- A payment that went back stops its top-up.
alter table top_ups drop constraint top_ups_stopped_reason_check;
alter table top_ups add constraint top_ups_stopped_reason_check
  check (stopped_reason in ('card_declined', 'authentication_required', 'not_for_sale', 'payment_reversed'));
