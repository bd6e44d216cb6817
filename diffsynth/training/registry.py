"""The table of what training needs, by the kind of voice."""

from diffsynth.training.frame_task import FrameTask
from diffsynth.training.gain_task import GainTask
from diffsynth.training.task import Task

TASKS: dict[str, type[Task]] = {"gains": GainTask, "frames": FrameTask}
