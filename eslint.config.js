import tseslint from "typescript-eslint";

// Biome formats and lints; ESLint adds only what needs type information.
export default tseslint.config({
  files: ["lib/**/*.ts"],
  extends: [tseslint.configs.base],
  languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
  rules: {
    "@typescript-eslint/no-floating-promises": "error",
    "@typescript-eslint/no-misused-promises": "error",
    "@typescript-eslint/await-thenable": "error",
    "@typescript-eslint/only-throw-error": "error",
  },
});
