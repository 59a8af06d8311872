"""What `azd up` runs between its own steps. azd calls the files of azure.yaml; each hands over to one module here.

preprovision   secrets   is what the template grants for the partners what partners/ names?
postprovision  image     build dbt's image in the registry, then provision again, now with its container group
predeploy      grants    wait until the role grants work, which takes Azure up to some minutes
postdeploy     factory   put the function key into the vault, then deploy adf/
               app       ask the deployed app whether it is closed, alive and ready
               (stage)   not a hook: fill an azd environment from a stage's parameter file, before the first `azd up`
"""
