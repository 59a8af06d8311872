// Types that main.bicep and its modules share.

@export()
@description('A secret that a partner\'s file names: what it holds, for whom, and who reads it.')
type partnerSecret = {
  name: string
  kind: 'certificate' | 'escrow' | 'sftp-key' | 'sftp-password' | 'source-password'
  partners: string[]
  readers: ('app' | 'factory')[]
}

@export()
type tagMap = {
  *: string
}

@export()
@description('Where a partner\'s files go on this stage: fields of the partner file\'s sftp that are replaced, by partner.')
type partnerServers = {
  *: {
    host: string?
    port: int?
    user: string?
    private_key: string?
    password: string?
    legacy: string[]?
    host_keys: string[]?
  }
}

@export()
type blobRule = {
  name: string
  type: 'Lifecycle'
  enabled: bool
  definition: {
    filters: {
      blobTypes: ('blockBlob' | 'appendBlob')[]
      prefixMatch: string[]?
    }
    actions: {
      baseBlob: {
        tierToCool: {
          daysAfterModificationGreaterThan: int
        }?
        delete: {
          daysAfterModificationGreaterThan: int
        }?
      }?
      version: {
        delete: {
          daysAfterCreationGreaterThan: int
        }
      }?
    }
  }
}

@export()
type guardedResource = {
  name: string
  resourceId: string
}

@export()
type endpointTarget = {
  name: string
  resourceId: string
  part: 'blob' | 'queue' | 'vault'
}
