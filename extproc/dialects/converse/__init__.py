"""AWS's Converse API, one for all the models of Bedrock: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html"""

from extproc.dialects.converse.translator import ConverseTranslator

__all__ = ["ConverseTranslator"]
