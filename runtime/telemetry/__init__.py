"""OpenTelemetry traces and metrics, as the variables ``OTEL_*`` ask for them.

Whoever may produce some asks first whether there is such a variable: without one, nothing of this
package is imported.
"""
