//! Nothing that was released is gone from the schema. `buf breaking` checks more of it; this much needs no other program.

use std::path::Path;

use prost_reflect::{DescriptorPool, FieldDescriptor};

fn present() -> DescriptorPool {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let files = std::fs::read_dir(include.join("peercompute/v1")).unwrap();
    let files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    DescriptorPool::from_file_descriptor_set(protox::compile(files, [include]).unwrap()).unwrap()
}

fn shape(field: &FieldDescriptor) -> String {
    let oneof = field
        .containing_oneof()
        .map(|oneof| oneof.name().to_owned());
    format!(
        "{:?} {:?} {:?} {oneof:?}",
        field.name(),
        field.kind(),
        field.cardinality()
    )
}

#[test]
fn every_released_field_and_value_is_there_with_its_number_and_type() {
    let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/released.binpb");
    let released = DescriptorPool::decode(&std::fs::read(image).unwrap()[..]).unwrap();
    let present = present();
    for message in released.all_messages() {
        let name = message.full_name();
        let now = present
            .get_message_by_name(name)
            .unwrap_or_else(|| panic!("{name} is gone"));
        for field in message.fields() {
            let now = now.get_field(field.number()).map(|field| shape(&field));
            assert_eq!(now, Some(shape(&field)), "{}", field.full_name());
        }
    }
    for values in released.all_enums() {
        let name = values.full_name();
        let now = present
            .get_enum_by_name(name)
            .unwrap_or_else(|| panic!("{name} is gone"));
        for value in values.values() {
            let now = now
                .get_value(value.number())
                .map(|value| value.name().to_owned());
            assert_eq!(now.as_deref(), Some(value.name()), "{}", value.full_name());
        }
    }
}
