with source as (

    select * from {{ source('loyalty', 'members') }}

)

select
    member_id,
    member_number,
    status as member_status,
    enrolled_at,
    updated_at
from source
