with source as (

    select * from {{ source('loyalty', 'cards') }}

)

select
    card_id,
    member_id,
    scheme as card_scheme,
    linked_at,
    unlinked_at,
    updated_at
from source
