//! The net as an ONNX file: the few messages of ONNX's protobuf format that it needs (field numbers from onnx.proto3), opset 13.

use prost::Message;

use super::data::{CROP, CROP_START, SIDE};
use super::net::{C1, C2, FLAT, HIDDEN, INPUT_SCALE, K1, K2, Net, S3};

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetId>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetId {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, tag = "3")]
    i: i64,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    ints: Vec<i64>,
    /// 2: INT, 7: INTS.
    #[prost(int32, tag = "20")]
    kind: i32,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    dims: Vec<i64>,
    /// 1: FLOAT, 7: INT64.
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShape>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorShape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(oneof = "Extent", tags = "1, 2")]
    value: Option<Extent>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Extent {
    #[prost(int64, tag = "1")]
    Value(i64),
    #[prost(string, tag = "2")]
    Param(String),
}

/// The bytes of the file: `triplets [N,63,63,3]` to `score [N,1]`.
pub(crate) fn file(net: &Net) -> Vec<u8> {
    let graph = GraphProto {
        node: nodes(),
        name: "boom_rb".into(),
        initializer: initializers(net),
        input: vec![value("triplets", &[SIDE, SIDE, 3])],
        output: vec![value("score", &[1])],
    };
    let opset = OperatorSetId { domain: String::new(), version: 13 };
    let model = ModelProto {
        ir_version: 7,
        producer_name: "train_realbogus".into(),
        graph: Some(graph),
        opset_import: vec![opset],
    };
    model.encode_to_vec()
}

fn nodes() -> Vec<NodeProto> {
    vec![
        node("Slice", &["triplets", "crop_starts", "crop_ends", "crop_axes"], "centre", vec![]),
        node("Transpose", &["centre"], "planes", vec![ints("perm", &[0, 3, 1, 2])]),
        node("Mul", &["planes", "input_scale"], "scaled", vec![]),
        node("Conv", &["scaled", "w1", "b1"], "conv1", vec![ints("kernel_shape", &[5, 5]), ints("strides", &[2, 2])]),
        node("Relu", &["conv1"], "relu1", vec![]),
        node("Conv", &["relu1", "w2", "b2"], "conv2", vec![ints("kernel_shape", &[3, 3]), ints("strides", &[1, 1])]),
        node("Relu", &["conv2"], "relu2", vec![]),
        node("MaxPool", &["relu2"], "pooled", vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]),
        node("Flatten", &["pooled"], "flat", vec![int("axis", 1)]),
        node("Gemm", &["flat", "w3", "b3"], "dense1", vec![]),
        node("Relu", &["dense1"], "relu3", vec![]),
        node("Gemm", &["relu3", "w4", "b4"], "logit", vec![]),
        node("Sigmoid", &["logit"], "score", vec![]),
    ]
}

fn initializers(net: &Net) -> Vec<TensorProto> {
    let end = (CROP_START + CROP) as i64;
    let start = CROP_START as i64;
    let (w1, b1) = net.layer(1);
    let (w2, b2) = net.layer(2);
    let (w3, b3) = net.layer(3);
    let (w4, b4) = net.layer(4);
    vec![
        integers("crop_starts", &[start, start]),
        integers("crop_ends", &[end, end]),
        integers("crop_axes", &[1, 2]),
        floats("input_scale", &[1], &[INPUT_SCALE]),
        floats("w1", &[C1, 3, K1, K1], &kernel(w1, K1, 3, C1)),
        floats("b1", &[C1], b1),
        floats("w2", &[C2, C1, K2, K2], &kernel(w2, K2, C1, C2)),
        floats("b2", &[C2], b2),
        floats("w3", &[FLAT, HIDDEN], &flattened(w3)),
        floats("b3", &[HIDDEN], b3),
        floats("w4", &[HIDDEN, 1], w4),
        floats("b4", &[1], b4),
    ]
}

/// Weights `[row, column, in, out]` as ONNX wants them: `[out, in, row, column]`.
fn kernel(weights: &[f32], side: usize, channels: usize, outputs: usize) -> Vec<f32> {
    let mut turned = Vec::with_capacity(weights.len());
    for output in 0..outputs {
        for channel in 0..channels {
            turned.extend((0..side * side).map(|tap| weights[(tap * channels + channel) * outputs + output]));
        }
    }
    turned
}

/// Rows of the first dense layer in the order channel, row, column instead of row, column, channel.
fn flattened(weights: &[f32]) -> Vec<f32> {
    let rows: Vec<&[f32]> = weights.chunks(HIDDEN).collect();
    (0..C2)
        .flat_map(|channel| (0..S3 * S3).flat_map(move |pixel| [pixel * C2 + channel]))
        .flat_map(|row| rows[row].iter().copied())
        .collect()
}

fn node(op_type: &str, input: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        input: input.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        name: format!("{}_{output}", op_type.to_lowercase()),
        op_type: op_type.to_owned(),
        attribute,
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), i, ints: vec![], kind: 2 }
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.to_owned(), i: 0, ints: ints.to_vec(), kind: 7 }
}

fn floats(name: &str, dims: &[usize], values: &[f32]) -> TensorProto {
    let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    TensorProto { dims: dims.iter().map(|dim| *dim as i64).collect(), data_type: 1, name: name.to_owned(), raw_data }
}

fn integers(name: &str, values: &[i64]) -> TensorProto {
    let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    TensorProto { dims: vec![values.len() as i64], data_type: 7, name: name.to_owned(), raw_data }
}

/// A float tensor with a free first dimension.
fn value(name: &str, dims: &[usize]) -> ValueInfo {
    let free = Dimension { value: Some(Extent::Param("N".into())) };
    let fixed = dims.iter().map(|dim| Dimension { value: Some(Extent::Value(*dim as i64)) });
    let shape = TensorShape { dim: std::iter::once(free).chain(fixed).collect() };
    let kind = TypeProto { tensor_type: Some(TensorType { elem_type: 1, shape: Some(shape) }) };
    ValueInfo { name: name.to_owned(), kind: Some(kind) }
}

/// Reads back a file that [`file`] wrote.
#[cfg(test)]
pub(crate) fn read(bytes: &[u8]) -> Net {
    let graph = ModelProto::decode(bytes).unwrap().graph.unwrap();
    let tensor = |name: &str| -> Vec<f32> {
        let tensor = graph.initializer.iter().find(|tensor| tensor.name == name).unwrap();
        tensor.raw_data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let back = |name: &str, side: usize, channels: usize, outputs: usize| -> Vec<f32> {
        let weights = tensor(name);
        let at = |tap, channel, output| weights[(output * channels + channel) * side * side + tap];
        let mut turned = Vec::new();
        for tap in 0..side * side {
            for channel in 0..channels {
                turned.extend((0..outputs).map(|output| at(tap, channel, output)));
            }
        }
        turned
    };
    let dense = tensor("w3");
    let order = (0..S3 * S3).flat_map(|pixel| (0..C2).map(move |channel| channel * S3 * S3 + pixel));
    let w3: Vec<f32> = order.flat_map(|row| dense[row * HIDDEN..(row + 1) * HIDDEN].to_vec()).collect();
    let (w1, w2) = (back("w1", K1, 3, C1), back("w2", K2, C1, C2));
    Net::from_layers([w1, tensor("b1"), w2, tensor("b2"), w3, tensor("b3"), tensor("w4"), tensor("b4")])
}
