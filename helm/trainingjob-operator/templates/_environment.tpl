{{/* The operator's environment. The rows after ENABLE_AUTOML are the defaults of the TrainingJob's spec. */}}
{{- define "trainingjob.environment" -}}
{{- $variables := list
  (list "TRAININGJOB_TRAINER_IMAGE" (include "trainingjob.image" (list . .Values.trainer.image)))
  (list "TRAININGJOB_IMAGE_PULL_POLICY" .Values.trainer.image.pullPolicy)
  (list "TRAININGJOB_NAMESPACES" (include "trainingjob.namespaces" . | fromJsonArray | join ","))
  (list "TRAININGJOB_OPERATOR_CLASS" .Values.operatorClass)
  (list "TRAININGJOB_ROLLOUT_PERCENT" .Values.automl.rolloutPercent)
  (list "TRAININGJOB_OUTPUT_URI" .Values.output.uri)
  (list "TRAININGJOB_OUTPUT_ENDPOINT" .Values.output.endpoint)
  (list "TRAININGJOB_OUTPUT_SECRET" .Values.output.credentialsSecret)
  (list "AWS_ENDPOINT_URL" .Values.s3.endpoint)
  (list "TRAININGJOB_ALLOWED_ENDPOINTS" (join "," .Values.s3.allowedEndpoints))
  (list "TRAININGJOB_ALLOW_HTTPS" .Values.s3.allowHttps)
  (list "TRAININGJOB_RUN_AS_USER" .Values.trainer.runAsUser)
  (list "TRAININGJOB_DEFAULT_WORKERS" .Values.trainer.defaultWorkers)
  (list "TRAININGJOB_MAX_BYTES" .Values.trainer.maxBytes)
  (list "TRAININGJOB_MAX_ROWS" .Values.trainer.maxRows)
  (list "TRAININGJOB_MAX_COLUMNS" .Values.trainer.maxColumns)
  (list "TRAININGJOB_PORT" .Values.port)
  (list "TRAININGJOB_WORKERS" .Values.workers)
  (list "TRAININGJOB_RESYNC_SECONDS" .Values.resyncSeconds)
  (list "TRAININGJOB_WATCH_TIMEOUT_SECONDS" .Values.watchTimeoutSeconds)
  (list "TRAININGJOB_REQUEST_TIMEOUT_SECONDS" .Values.requestTimeoutSeconds)
  (list "TRAININGJOB_METRICS_JOB_LABEL" .Values.metrics.jobLabel)
  (list "ENABLE_AUTOML" .Values.automl.enabled)
  (list "ENABLE_AUTOML_FALLBACK" .Values.automl.fallback)
  (list "TPOT_PARALLEL_MODE" .Values.defaults.parallelMode)
  (list "TPOT__GENERATIONS" .Values.defaults.generations)
  (list "TPOT__POPULATION_SIZE" .Values.defaults.populationSize)
  (list "TPOT__TIME_LEFT" .Values.defaults.timeLeftSeconds)
  (list "TPOT__PER_RUN_LIMIT" .Values.defaults.perRunLimitSeconds)
  (list "TPOT__METRIC" .Values.defaults.metric)
  (list "TPOT__CV_FOLDS" .Values.defaults.cvFolds)
  (list "TPOT__CONFIG_DICT" .Values.defaults.searchSpace)
  (list "TPOT__N_JOBS" .Values.defaults.nJobs)
  (list "TPOT__MEMORY_LIMIT_MB" .Values.defaults.memoryLimitMb)
  (list "TPOT__DASK_SCHEDULER_FILE" .Values.defaults.daskSchedulerFile) -}}
{{- range $variables -}}
{{- include "trainingjob.variable" . -}}
{{- end -}}
{{- end -}}
