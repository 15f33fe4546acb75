//! The training of `boom_rb`, a small real/bogus net on the simulator's ZTF stamps: data, net, ONNX file. Only `train_realbogus` uses it;
//! nothing of the pipeline may. All of it is deterministic: one thread, fixed order of every sum, no platform maths.

pub(crate) mod data;
pub(crate) mod measure;
pub(crate) mod net;
pub(crate) mod onnx;
