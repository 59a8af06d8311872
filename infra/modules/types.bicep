// Types that main.bicep and its modules share.

@export()
@description('A secret that a partner\'s file names: what it holds, for whom, and who reads it.')
type partnerSecret = {
  name: string
  kind: 'certificate' | 'escrow' | 'sftp-key' | 'sftp-password'
  partners: string[]
  readers: ('app' | 'factory')[]
}
