//! Readable names in the exported graph: those of the module tree.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail};
use runtime::onnx::Graph;

/// Names input and output `poster` and `probabilities`, weights after their path in the module tree, such as
/// `stages.0.conv.weight`, and nodes and the values between them after the module of their weights.
///
/// # Errors
/// If the graph does not have one input and one output.
pub(super) fn rename(graph: &mut Graph) -> Result<()> {
    graph.name = "poster-genres".into();
    // The list refers to values by their old names; tools infer the shapes anyway.
    graph.value_info.clear();
    let [input] = graph.input.as_mut_slice() else { bail!("the graph must have one input") };
    let [output] = graph.output.as_mut_slice() else { bail!("the graph must have one output") };
    let mut names = HashMap::from([
        (std::mem::replace(&mut input.name, "poster".into()), "poster".to_string()),
        (std::mem::replace(&mut output.name, "probabilities".into()), "probabilities".to_string()),
    ]);
    let mut weights = HashSet::new();
    for tensor in &mut graph.initializer {
        // A path begins with the variant of `Model`, which is left out.
        let path = tensor.name.split_once('.').filter(|(variant, _)| variant.chars().all(char::is_alphanumeric));
        if let Some((_, path)) = path {
            let path = path.to_string();
            weights.insert(path.clone());
            names.insert(std::mem::replace(&mut tensor.name, path.clone()), path);
        }
    }

    let mut taken = HashSet::new();
    let mut module = String::new();
    for node in &mut graph.node {
        for input in &mut node.input {
            if let Some(name) = names.get(input) {
                input.clone_from(name);
            }
        }
        let kind = node.op_type.to_lowercase();
        let own = node.input.iter().find(|input| weights.contains(*input)).and_then(|path| path.rsplit_once('.'));
        let name = match own {
            Some((path, _)) => {
                module = path.to_string();
                module.clone()
            }
            // A node without weights is named after the parent of the last module with weights.
            None => module.rsplit_once('.').map_or(kind.clone(), |(parent, _)| format!("{parent}.{kind}")),
        };
        let others =
            [format!("{name}.{kind}")].into_iter().chain((2..).map(|number| format!("{name}.{kind}.{number}")));
        let name = [name.clone()].into_iter().chain(others).find(|name| taken.insert(name.clone())).unwrap_or(name);
        for (index, output) in node.output.iter_mut().enumerate() {
            let new = names
                .entry(output.clone())
                .or_insert_with(|| if index == 0 { name.clone() } else { format!("{name}.{index}") });
            output.clone_from(new);
        }
        node.name = name;
    }
    Ok(())
}
