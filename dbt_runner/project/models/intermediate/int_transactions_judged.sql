{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='transaction_id',
        on_schema_change='fail',
        unlogged=true
    )
}}

with transactions as (

    select * from {{ ref('stg_loyalty__transactions') }}
    {% if is_incremental() %}
        -- By arrival, not by payment: a row that comes late or is changed later is judged again, however old it is.
        where loaded_at > (
            select coalesce(max(judged.loaded_at), '-infinity') - interval '{{ var("lookback_hours") }} hours'
            from {{ this }} as judged
        )
    {% endif %}

),

cards as (

    select * from {{ ref('stg_loyalty__cards') }}

),

members as (

    select * from {{ ref('stg_loyalty__members') }}

),

terms as (

    select * from {{ ref('int_merchant_terms') }}

)

select
    transactions.transaction_id,
    cards.member_id,
    transactions.card_id,
    transactions.merchant_id,
    terms.partner_code,
    {{ business_date('transactions.transaction_at') }} as business_date,
    transactions.transaction_at,
    transactions.amount,
    transactions.currency,
    floor(transactions.amount * terms.points_per_unit)::integer as points,
    case
        when transactions.transaction_status <> 'settled' then 'not settled'
        when terms.partner_code is null then 'no partner'
        when members.member_status <> 'active' then 'member closed'
        when transactions.transaction_at < cards.linked_at then 'card not linked'
        when transactions.transaction_at >= cards.unlinked_at then 'card not linked'
        when transactions.amount < terms.minimum_amount then 'below minimum'
    end as rejected_because,
    transactions.loaded_at
from transactions
inner join cards on transactions.card_id = cards.card_id
inner join members on cards.member_id = members.member_id
inner join terms
    on
        transactions.merchant_id = terms.merchant_id
        and transactions.transaction_at >= terms.valid_from
        and transactions.transaction_at < terms.valid_to
