-- Pages of the sandbox on which a card is saved, and which one was: the cards of a customer there are those of its pages.
create table sandbox_card_pages (
  id text primary key,
  customer_id text not null,
  success_url text not null,
  cancel_url text not null,
  -- Null while nobody saved one.
  method_id text,
  saved_at timestamptz(3),
  constraint sandbox_card_pages_saved_has_time check ((method_id is null) = (saved_at is null))
);
create index sandbox_card_pages_customer_idx on sandbox_card_pages (customer_id);
