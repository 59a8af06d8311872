{{ config(indexes=[{'columns': ['partner_code', 'business_date']}]) }}

with qualifying_transactions as (

    select * from {{ ref('fct_qualifying_transactions') }}

),

members as (

    select * from {{ ref('stg_loyalty__members') }}

),

merchants as (

    select * from {{ ref('stg_loyalty__merchants') }}

)

select
    qualifying_transactions.partner_code,
    qualifying_transactions.business_date,
    members.member_number,
    merchants.merchant_number,
    qualifying_transactions.transaction_id,
    qualifying_transactions.transaction_at,
    qualifying_transactions.amount,
    qualifying_transactions.currency,
    qualifying_transactions.points
from qualifying_transactions
inner join members on qualifying_transactions.member_id = members.member_id
inner join merchants on qualifying_transactions.merchant_id = merchants.merchant_id
