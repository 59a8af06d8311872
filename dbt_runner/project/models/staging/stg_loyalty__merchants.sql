with source as (

    select * from {{ source('loyalty', 'merchants') }}

)

select
    merchant_id,
    merchant_number,
    merchant_name,
    partner_code,
    category as merchant_category,
    points_per_unit,
    minimum_amount,
    updated_at
from source
