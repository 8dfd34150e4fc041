"""The response of the servers without a model."""

ANSWER = (
    b'{"model_name":"simplenet","model_version":"1","outputs":[{"name":"label","datatype":"INT64",'
    b'"shape":[1],"data":[1]},{"name":"probabilities","datatype":"FP32","shape":[1,2],"data":'
    b'[0.19282934,0.8071706]},{"name":"logits","datatype":"FP32","shape":[1,2],"data":'
    b"[-0.93475044,0.49697912]}]}"
)
