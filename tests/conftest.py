"""One thread for all tests: two test runs side by side then cost no more than their sum."""

import torch

torch.set_num_threads(1)
