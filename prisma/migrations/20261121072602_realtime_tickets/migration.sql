-- Tickets for sockets: each stands for a credential for half a minute, once. Only the hash is kept.
create table realtime_tickets (
  sha256 bytea primary key check (octet_length(sha256) = 32),
  holder jsonb not null check (jsonb_typeof(holder) = 'object'),
  expires_at timestamptz(3) not null
);
create index realtime_tickets_expires_at_idx on realtime_tickets (expires_at);
