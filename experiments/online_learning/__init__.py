"""Gradients without a backward pass through all of time: how well do they train?"""
