"""What the AWS Neuron tools and compilers say."""
