{{/* The bounds as (list key path default); the default is the one in force where a job says nothing. */}}
{{- define "trainingjob.bounds" -}}
{{- $defaults := .Values.defaults -}}
{{- list
  (list "timeLeftSeconds" "budget.timeLeftSeconds" (default 600 $defaults.timeLeftSeconds))
  (list "perRunLimitSeconds" "budget.perRunLimitSeconds" (min (default 60 $defaults.perRunLimitSeconds) (default 600 $defaults.timeLeftSeconds)))
  (list "generations" "budget.generations" (default 40 $defaults.generations))
  (list "populationSize" "budget.populationSize" (default 64 $defaults.populationSize))
  (list "cvFolds" "budget.cvFolds" (default 5 $defaults.cvFolds))
  (list "nJobs" "nJobs" (default .Values.trainer.defaultWorkers $defaults.nJobs))
  (list "memoryLimitMb" "memoryLimitMb" (default 3072 $defaults.memoryLimitMb))
  (list "workers" "dask.workers" 2)
  (list "activeDeadlineSeconds" "activeDeadlineSeconds" 0)
  (list "backoffLimit" "backoffLimit" 2)
| toJson -}}
{{- end -}}

{{/* CEL that is true where an optional field is set: has() of it and of each of its parents. Takes a path below spec. */}}
{{- define "trainingjob.has" -}}
{{- $path := "object.spec" -}}
{{- $parts := list -}}
{{- range splitList "." . -}}
{{- $path = printf "%s.%s" $path . -}}
{{- $parts = append $parts (printf "has(%s)" $path) -}}
{{- end -}}
{{- join " && " $parts -}}
{{- end -}}

{{/* One validation that a field is at most a bound. Takes (list path bound). */}}
{{- define "trainingjob.atmost" -}}
{{- $path := index . 0 -}}
{{- $most := int64 (index . 1) }}
- expression: {{ printf "!(%s) || object.spec.%s <= %d" (include "trainingjob.has" $path) $path $most | quote }}
  messageExpression: {{ printf "'spec.%s: ' + string(object.spec.%s) + ' is above the maximum of this cluster, %d; ask for %d or less'" $path $path $most $most | quote }}
  reason: Invalid
{{- end -}}

{{/* One validation that an address lies below one of some places. Takes (list path places). */}}
{{- define "trainingjob.below" -}}
{{- $path := index . 0 -}}
{{- $places := index . 1 -}}
{{- $bare := list -}}
{{- range $places -}}{{- $bare = append $bare (trimSuffix "/" .) -}}{{- end }}
- expression: {{ printf "!(%s) || %s.exists(place, object.spec.%s == place || object.spec.%s.startsWith(place + '/'))" (include "trainingjob.has" $path) (toJson $bare) $path $path | quote }}
  messageExpression: {{ printf "'spec.%s: ' + object.spec.%s + ' is not in a place that this cluster allows; use one of %s'" $path $path (join ", " $places) | quote }}
  reason: Forbidden
{{- end -}}

{{/* One validation that the host of an address is on a list. Takes (list path hosts condition). */}}
{{- define "trainingjob.onhost" -}}
{{- $path := index . 0 -}}
{{- $hosts := index . 1 -}}
{{- $condition := index . 2 }}
- expression: {{ printf "!(%s%s) || url(object.spec.%s).getHostname().lowerAscii() in %s" (include "trainingjob.has" $path) $condition $path (toJson $hosts) | quote }}
  messageExpression: {{ printf "'spec.%s: ' + url(object.spec.%s).getHostname() + ' is not on the list of allowed endpoints of this cluster; use one of %s'" $path $path (join ", " $hosts) | quote }}
  reason: Forbidden
{{- end -}}

{{/* Validations that no address is of a cloud without a host on a list. Takes that list. */}}
{{- define "trainingjob.cloudhosts" -}}
{{- $hosts := . -}}
{{- range $scheme, $host := dict "gs" "storage.googleapis.com" "az" "blob.core.windows.net" -}}
{{- $found := false -}}
{{- range $hosts -}}{{- if or (eq . $host) (hasSuffix (printf ".%s" $host) .) -}}{{- $found = true -}}{{- end -}}{{- end -}}
{{- if not $found -}}
{{- range list "dataset.uri" "output.uri" }}
- expression: {{ printf "!(%s) || !object.spec.%s.startsWith('%s://')" (include "trainingjob.has" .) . $scheme | quote }}
  message: {{ printf "spec.%s: %s is not on the list of allowed endpoints of this cluster; use one of %s" . $host (join ", " $hosts) | quote }}
  reason: Forbidden
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "trainingjob.validations.budgets" -}}
{{- $limits := .Values.admission.limits -}}
{{- range include "trainingjob.bounds" . | fromJsonArray -}}
{{- $key := index . 0 -}}
{{- $default := int64 (index . 2) -}}
{{- $most := get $limits $key -}}
{{- if or (kindIs "float64" $most) (kindIs "int64" $most) (kindIs "int" $most) -}}
{{- if gt $default (int64 $most) -}}
{{- fail (printf "admission.limits.%s: %d is below %d, which is in force where a job says nothing; lower that default" $key (int64 $most) $default) -}}
{{- end -}}
{{- include "trainingjob.atmost" (list (index . 1) $most) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "trainingjob.validations.places" -}}
{{- $admission := .Values.admission -}}
{{- $hosts := list -}}
{{- range default .Values.s3.allowedEndpoints $admission.endpoints -}}{{- $hosts = append $hosts (lower .) -}}{{- end -}}
{{- with $admission.datasets -}}{{- include "trainingjob.below" (list "dataset.uri" .) -}}{{- end -}}
{{- with $admission.outputs -}}{{- include "trainingjob.below" (list "output.uri" .) -}}{{- end -}}
{{- if $hosts -}}
{{- include "trainingjob.onhost" (list "dataset.endpoint" $hosts "") -}}
{{- include "trainingjob.onhost" (list "output.endpoint" $hosts "") -}}
{{- include "trainingjob.onhost" (list "dataset.uri" $hosts " && object.spec.dataset.uri.startsWith('https://')") -}}
{{- include "trainingjob.cloudhosts" $hosts -}}
{{- end -}}
{{- end -}}

{{- define "trainingjob.validations.priorities" -}}
{{- $classes := .Values.admission.priorityClasses -}}
{{- if not (kindIs "invalid" $classes) }}
{{- $path := "trainer.priorityClassName" }}
{{- $hint := ternary (printf "use one of %s" (join ", " $classes)) "leave it out" (gt (len $classes) 0) }}
- expression: {{ printf "!(%s) || object.spec.%s in %s" (include "trainingjob.has" $path) $path (toJson $classes) | quote }}
  messageExpression: {{ printf "'spec.%s: ' + object.spec.%s + ' is not a priority class that this cluster allows; %s'" $path $path $hint | quote }}
  reason: Forbidden
{{- end -}}
{{- end -}}
