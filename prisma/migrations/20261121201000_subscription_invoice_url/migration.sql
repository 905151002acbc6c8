-- Where the owner of a subscription that is not paid pays its open invoice: the provider's page, as it was read last.
alter table subscriptions add column invoice_url text;
