with source as (

    select * from {{ source('loyalty', 'transactions') }}

)

select
    transaction_id,
    card_id,
    merchant_id,
    transaction_at,
    amount,
    currency,
    status as transaction_status,
    loaded_at
from source
