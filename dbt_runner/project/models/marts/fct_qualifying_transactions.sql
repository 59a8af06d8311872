with judged as (

    select * from {{ ref('int_transactions_judged') }}

)

select
    transaction_id,
    member_id,
    card_id,
    merchant_id,
    partner_code,
    business_date,
    transaction_at,
    amount,
    currency,
    points
from judged
where rejected_because is null
